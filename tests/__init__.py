"""The tests, by what they are about; CONTRIBUTING.md says where a test of something goes."""
