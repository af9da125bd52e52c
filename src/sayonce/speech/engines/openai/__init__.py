"""The engine `openai`: speech servers elsewhere that speak the OpenAI API, what they answer, and voices that they keep."""
