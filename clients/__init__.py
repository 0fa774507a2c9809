"""Agent loops of common clients against `ttsi serve`, each written as its users write it (`make clients`)."""
