"""The admin API: what operators ask and change, over `releases`."""
