"""Exit 1 where the file is no CycloneDX 1.5 document, with what its schema says."""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

with open(sys.argv[1], encoding="utf-8") as file:
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read())
if error is not None:
    sys.exit(f"sbom: not CycloneDX 1.5: {error}")
print("sbom: valid CycloneDX 1.5")
