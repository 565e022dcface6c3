"""The gateway: HTTP in, commands to Kafka, reads from the read models. It holds no rule of the business."""
