# Now Serving. `make demo` and `make test` need nothing but Python >= 3.11 and make.
