"""What enters each image: locks, Dockerfiles, the programs that build and check them."""
