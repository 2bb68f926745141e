"""How fast our layers are beside other libraries' on the same machine, the same weights and the same inputs."""
