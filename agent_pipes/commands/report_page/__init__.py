"""HTML page and terminal summary of one session: what trace-report prints.

story_builder reads the events into a Story (story, changes); rounds finds its loop and groups its
errors; verdict has its first lines. page puts the HTML together from picture (with scale), sections
and calls_table, summary the text. words writes numbers, times and hostile text for both.
"""
