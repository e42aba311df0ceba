"""Clients of the bank in other languages, made from its .proto files by other tools."""
