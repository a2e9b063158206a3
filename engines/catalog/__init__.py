"""The models that ship with the program, and the contract that every model keeps."""
