"""Environments: what an agent acts on, with tools, a state and a user whose turns are fixed.

Inputs: Python functions, an MCP server, or simulators of a benchmark. Outputs: objects with the methods of
`ttsi.environments.environment.Environment`. The agent itself is `ttsi.agents`.
"""
