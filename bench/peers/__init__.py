"""What people would pick instead, each written as its own documentation recommends, in production settings."""
