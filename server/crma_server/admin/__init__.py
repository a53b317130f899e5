"""The admin API: what operators ask and change (`api`), done on the store and told of what is served
(`service`)."""
