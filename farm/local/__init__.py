"""The farm on one machine with nothing installed: Valkey and S3 from wheels, one worker, Flower.

`LocalStack` runs it, `stack_folder`, `attach` and `local_environment` find one, `down` stops it.
"""
