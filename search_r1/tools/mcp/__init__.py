"""Tools of MCP servers, each as one of ours."""
