"""What people are told: by mail and in a list of their own, once for each fact, and as they wish."""
