"""The page at `/crma`: static files and their routes. It asks the admin API for all that it shows."""
