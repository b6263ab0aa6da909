"""Old addresses of what belongs to other libraries' loops and resolvers; nothing else may enter."""
