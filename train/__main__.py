"""`python -m charlm.train`, which is `charlm-train`: what torchrun's `-m` takes."""

from charlm.train.cli import main

if __name__ == "__main__":
    main()
