"""Feeds without sockets: a session takes the bytes that came and when they came, and says what follows.

The caller owns the sockets and the clock. `IndexerSession` speaks the indexer's WebSocket, `FullNodeSession`
a full node's stream; both keep a `Book`. Times are seconds of one clock of the caller's that never goes back.
"""
