"""The command line: one file a verb. They parse, call and print; no logic lives here."""
