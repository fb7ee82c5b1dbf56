"""What a person sees and types: progress lines, tables, sentences, flags."""
