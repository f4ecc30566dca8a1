"""What tests on the S3 server call things."""

BUCKET = "plant"
SECRET = "hush"
