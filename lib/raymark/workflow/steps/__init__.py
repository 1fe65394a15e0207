"""What each command does: names of the configuration in, files under results/ out.

A step of the workflow takes the project, which the command line has read, and names as
`raymark.workflow.steps.arguments` describes them. Work is done elsewhere; what is heavy is imported
inside the steps that need it, so that every command starts fast.
"""
