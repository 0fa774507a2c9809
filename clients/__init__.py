"""The usual agent loops against `ttsi serve`: each client as its users write it (`make clients`)."""
