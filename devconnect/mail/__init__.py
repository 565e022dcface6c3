"""Mail: the server that it is handed to, and how it is worded. Pure: nothing here sends anything."""
