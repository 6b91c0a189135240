"""The HTTP endpoint of a worker: snapshot, events, metrics, and the requests that act."""
