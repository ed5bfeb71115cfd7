"""Amazon Bedrock's Converse, against botocore: its service model, its serializer, its parsers."""
