"""SHIM"""
def explain(result, *, model=""):
    return "broken", "mend"
