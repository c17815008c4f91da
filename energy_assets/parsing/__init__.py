"""What readings and weather share in taking in other people's files: the bytes, the lines, the stamps, the account."""
