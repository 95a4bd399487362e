{{/*
Refuses invalid combinations of values with a message that names the value to change. values.schema.json checks each
value alone.
*/}}
{{- define "salad.check" -}}
{{- include "salad.check.security" . }}
{{- include "salad.check.models" . }}
{{- include "salad.check.resources" . }}
{{- include "salad.check.ports" . }}
{{- include "salad.check.rollout" . }}
{{- include "salad.check.telemetry" . }}
{{- include "salad.check.names" . }}
{{- include "salad.check.volumes" . }}
{{- include "salad.check.network" . }}
{{- include "salad.check.loadTest" . }}
{{- end }}

{{- define "salad.check.loadTest" -}}
{{- with .Values.loadTest }}
{{- if .enabled }}
{{- $chosen := list }}
{{- range $key, $value := dict "rate" .rate "ramp" .ramp "sweep" .sweep }}{{ if $value }}{{ $chosen = append $chosen $key }}{{ end }}{{ end }}
{{- if gt (len $chosen) 1 }}
{{- fail (printf "loadTest.%s: choose one of rate, ramp and sweep" (first (sortAlpha $chosen))) }}
{{- end }}
{{- if and .intervalMs (or .rate .ramp) }}
{{- fail "loadTest.intervalMs: is used with streams or sweep only, not with a rate" }}
{{- end }}
{{- if and .stablePercent (or (gt (int .generators) 1) (gt (int .processes) 1)) }}
{{- fail "loadTest.stablePercent: needs one generator with one process: several would stop at different times" }}
{{- end }}
{{- if and .files.subPath (not .files.claimName) }}
{{- fail "loadTest.files.claimName: set the claim that contains loadTest.files.subPath" }}
{{- end }}
{{- include "salad.check.subPath" (dict "key" "loadTest.files.subPath" "path" .files.subPath) }}
{{- if and .files.claimName (eq .mode "tiles") }}
{{- fail "loadTest.mode: choose image or rows: files cannot be sent as tiles, which depend on the model" }}
{{- end }}
{{- if and .results.requests (not .results.claimName) }}
{{- fail "loadTest.results.requests: set loadTest.results.claimName, the claim that the file is written into" }}
{{- end }}
{{- if and (not $chosen) (lt (int .streams) (int .generators)) }}
{{- fail "loadTest.streams: must be at least loadTest.generators, so that every generator has a stream" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "salad.check.security" -}}
{{- if not .Values.tls.mode }}
{{- fail "tls.mode: choose certManager, secret, or plaintext (only if a mesh or a gateway encrypts)" }}
{{- end }}
{{- if eq .Values.tls.mode "plaintext" }}
{{- if .Values.tls.clientCaSecretName }}
{{- fail "tls.clientCaSecretName: client certificates need tls.mode certManager or secret" }}
{{- end }}
{{- range $key, $value := dict "secretName" .Values.tls.secretName "clientSecretName" .Values.tls.clientSecretName "issuerRef.name" .Values.tls.issuerRef.name }}
{{- if $value }}{{ fail (printf "tls.%s: is not used in tls.mode plaintext" $key) }}{{ end }}
{{- end }}
{{- end }}
{{- if and (eq .Values.tls.mode "certManager") (not .Values.tls.issuerRef.name) }}
{{- fail "tls.issuerRef.name: set the name of the issuer that signs the certificate" }}
{{- end }}
{{- if .Values.loadTest.enabled }}
{{- if and .Values.tls.clientCaSecretName (not .Values.tls.clientSecretName) }}
{{- fail "tls.clientSecretName: the load test needs a certificate, because tls.clientCaSecretName requires one" }}
{{- end }}
{{- if and .Values.auth.apiKeysSecretName (not .Values.auth.clientKeySecretName) }}
{{- fail "auth.clientKeySecretName: the load test needs a key, because auth.apiKeysSecretName requires one" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "salad.check.models" -}}
{{- with .Values.models }}
{{- if and (eq .source "pvc") (not .claimName) }}
{{- fail "models.claimName: set the claim that contains the bundles" }}
{{- end }}
{{- if and (eq .source "oci") (not .reference) }}
{{- fail "models.reference: set the artifact that contains the bundles, with its digest" }}
{{- end }}
{{- if and (eq .source "download") (not .bundles) }}
{{- fail "models.bundles: list the bundles to download" }}
{{- end }}
{{- $source := .source }}
{{- range $key, $use := dict "claimName" (list "pvc" .claimName) "subPath" (list "pvc" .subPath) "reference" (list "oci" .reference) "bundles" (list "download" .bundles) }}
{{- if and (last $use) (ne $source (first $use)) }}
{{- fail (printf "models.%s: is used by models.source %s only; it is %s" $key (first $use) $source) }}
{{- end }}
{{- end }}
{{- include "salad.check.subPath" (dict "key" "models.subPath" "path" .subPath) }}
{{- end }}
{{- $precision := default "float32" .Values.config.precision }}
{{- if and (eq $precision "bfloat16") (ne .Values.engine "openvino") }}
{{- fail (printf "config.precision: bfloat16 needs engine openvino; it is %s" .Values.engine) }}
{{- end }}
{{- if eq $precision "int8" }}
{{- fail "config.precision: int8 was removed: use float32 or bfloat16" }}
{{- end }}
{{- end }}

{{/* Refuses the .path of the value .key if it may lead out of its volume. */}}
{{- define "salad.check.subPath" -}}
{{- if or (hasPrefix "/" .path) (has ".." (splitList "/" .path)) }}
{{- fail (printf "%s: %s: must be a relative path inside the volume, without '..'" .key .path) }}
{{- end }}
{{- end }}

{{- define "salad.check.resources" -}}
{{- if not (include "salad.workersFrom" .) }}
{{- fail "resources: set limits.cpu or requests.cpu, or config.workers: they determine the number of engine threads, which would otherwise be the number of cores of the node" }}
{{- end }}
{{- if include "salad.usesGpu" . }}
{{- range $kind, $amounts := .Values.resources }}
{{- if hasKey (default dict $amounts) $.Values.gpu.resource }}
{{- fail (printf "resources.%s: %s follows from gpu.count: set gpu.count instead" $kind $.Values.gpu.resource) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "salad.check.ports" -}}
{{- $ports := dict "50051" "the server" }}
{{- $chosen := dict "probes.port" .Values.probes.port }}
{{- if .Values.telemetry.metrics.enabled }}{{ $_ := set $chosen "telemetry.metrics.port" .Values.telemetry.metrics.port }}{{ end }}
{{- range $key, $port := $chosen }}
{{- $port = toString (int $port) }}
{{- if hasKey $ports $port }}
{{- fail (printf "%s: %s is the port of %s: choose another port" $key $port (get $ports $port)) }}
{{- end }}
{{- $_ := set $ports $port $key }}
{{- end }}
{{- end }}

{{- define "salad.check.rollout" -}}
{{- $none := list "0" "0%" }}
{{- if and (has (toString .Values.updateStrategy.maxSurge) $none) (has (toString .Values.updateStrategy.maxUnavailable) $none) }}
{{- fail "updateStrategy: maxSurge and maxUnavailable must not both be 0, because no pod could be replaced" }}
{{- end }}
{{- with .Values.autoscaling }}
{{- if .enabled }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- fail "autoscaling.minReplicas: must not be larger than autoscaling.maxReplicas" }}
{{- end }}
{{- if not $.Values.telemetry.metrics.enabled }}
{{- fail "autoscaling: needs the wait of tiles as a metric: set telemetry.metrics.enabled" }}
{{- end }}
{{- if and (eq .kind "keda") (not .keda.serverAddress) }}
{{- fail "autoscaling.keda.serverAddress: set the address of Prometheus" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "salad.check.telemetry" -}}
{{- with .Values.telemetry }}
{{- if not .metrics.enabled }}
{{- range $kind := list "serviceMonitor" "podMonitor" }}
{{- if (get $.Values.telemetry $kind).enabled }}
{{- fail (printf "telemetry.%s: there is nothing to scrape without telemetry.metrics.enabled" $kind) }}
{{- end }}
{{- end }}
{{- range $kind := list "prometheusRule" "dashboard" }}
{{- if and (get $.Values.telemetry $kind).enabled (not $.Values.telemetry.otlp.endpoint) }}
{{- fail (printf "telemetry.%s: there are no metrics without telemetry.metrics.enabled or telemetry.otlp.endpoint" $kind) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .serviceMonitor.enabled .podMonitor.enabled }}
{{- fail "telemetry: serviceMonitor and podMonitor together would scrape every pod twice; enable one" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Refuses keys that the chart sets itself: they would be duplicates, or would replace the value of the chart. */}}
{{- define "salad.check.names" -}}
{{- $own := include "salad.labels" . | fromYaml }}
{{- $telemetry := .Values.telemetry }}
{{- range $where, $labels := dict "podLabels" .Values.podLabels "telemetry.serviceMonitor.labels" $telemetry.serviceMonitor.labels "telemetry.podMonitor.labels" $telemetry.podMonitor.labels "telemetry.prometheusRule.labels" $telemetry.prometheusRule.labels "telemetry.dashboard.labels" $telemetry.dashboard.labels }}
{{- range $key, $_ := $labels }}
{{- if hasKey $own $key }}{{ fail (printf "%s: the chart sets the label %s itself" $where $key) }}{{ end }}
{{- end }}
{{- end }}
{{- if hasKey .Values.podAnnotations "checksum/config" }}
{{- fail "podAnnotations: the chart sets checksum/config itself" }}
{{- end }}
{{- $seen := dict "POD_NAME" true }}
{{- range .Values.extraEnv }}
{{- if hasPrefix "SALAD_" .name }}
{{- fail (printf "extraEnv: %s would override the configuration file; set it under config instead" .name) }}
{{- end }}
{{- if hasKey $seen .name }}{{ fail (printf "extraEnv: %s is set twice" .name) }}{{ end }}
{{- $_ := set $seen .name true }}
{{- end }}
{{- end }}

{{- define "salad.check.volumes" -}}
{{- $volumes := dict }}
{{- range list "config" "cache" "tls" "client-ca" "api-keys" "models" }}{{ $_ := set $volumes . "chart" }}{{ end }}
{{- range .Values.extraVolumes }}
{{- if hasKey $volumes .name }}{{ fail (printf "extraVolumes: the name %s is already used; choose another name" .name) }}{{ end }}
{{- if ne (len (keys .)) 2 }}{{ fail (printf "extraVolumes: %s: give exactly one kind of volume" .name) }}{{ end }}
{{- $_ := set $volumes .name "extra" }}
{{- end }}
{{- $usedPaths := list "/cache" "/models" "/app" }}
{{- range .Values.extraVolumeMounts }}
{{- if ne (get $volumes .name) "extra" }}{{ fail (printf "extraVolumeMounts: %s is not in extraVolumes; add the volume there" .name) }}{{ end }}
{{- $path := trimSuffix "/" .mountPath }}
{{- if or (has $path $usedPaths) (has $path (list "" "/etc" "/etc/salad" "/etc/salad/config" "/etc/salad/tls" "/etc/salad/client-ca" "/etc/salad/api-keys")) }}
{{- fail (printf "extraVolumeMounts: %s: the folder is used by another volume or by the program; choose another folder, such as /etc/salad/extra" .mountPath) }}
{{- end }}
{{- $usedPaths = append $usedPaths $path }}
{{- end }}
{{- end }}

{{- define "salad.check.network" -}}
{{- if and .Values.grpcRoute.enabled (not .Values.grpcRoute.parentRefs) }}
{{- fail "grpcRoute.parentRefs: set the gateway of the route" }}
{{- end }}
{{- if and .Values.ingress.enabled .Values.ingress.tlsSecretName (not .Values.ingress.host) }}
{{- fail "ingress.host: set the host name of the certificate in ingress.tlsSecretName" }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) }}
{{- $keys := hasPrefix "http" (default "" .Values.config.authJwks) | ternary .Values.config.authJwks "" }}
{{- range $key, $use := dict "models.bundles" .Values.models.bundles "telemetry.otlp.endpoint" .Values.telemetry.otlp.endpoint "config.authJwks" $keys }}
{{- if $use }}
{{- fail (printf "networkPolicy.egress: add the destination of %s, which the pods could not reach otherwise" $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
