"""Validates a file as a CycloneDX 1.5 document; exits with code 1 and the error of the schema if it is not valid."""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

with open(sys.argv[1], encoding="utf-8") as file:
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read())
if error is not None:
    sys.exit(f"sbom: not a valid CycloneDX 1.5 document: {error}")
print("sbom: valid CycloneDX 1.5")
