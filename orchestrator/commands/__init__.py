"""One module per family of verbs: what `invoke` calls, and what each verb returns."""
