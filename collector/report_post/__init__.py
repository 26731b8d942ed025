"""Reports on their way: into a folder, by mail, to webhooks of chat programs; each tried until it is taken, once.

`parcel.py` is what is sent, `chat.py` how a message looks; `folder.py`, `mail.py` and `webhook.py` each bring it to one
destination; `rounds.py` says who gets what when, and remembers. Addresses hold secrets: what leaves this room in errors
and records is a destination's name and the fingerprint of its address.
"""
