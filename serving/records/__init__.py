"""What is kept of forecasts and of what came true."""
