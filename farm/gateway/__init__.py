"""The gateway: doors through which clients that people have already reach the farm (extra `gateway`).

A stateless process on `AsyncFarm`; what it keeps is in Redis (`farm.store.redis.doors`). `app` puts the doors
together; each door is a module that turns requests of one contract into calls of `house.Tenancy` and back.
"""
