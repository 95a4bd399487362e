{{- define "salad.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
Name of all objects, valid for Services: lower-case letters, digits and hyphens, a letter first, at most 63 characters
with the longest suffix. The name of a release may contain dots and begin with a digit.
*/}}
{{- define "salad.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else }}
{{- $chart := include "salad.name" . }}
{{- $name := contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart) | replace "." "-" }}
{{- $name = regexMatch "^[a-z]" $name | ternary $name (printf "salad-%s" $name) | trunc 52 }}
{{- regexReplaceAll "-+$" $name "" }}
{{- end }}
{{- end }}

{{- define "salad.selector" -}}
app.kubernetes.io/name: {{ include "salad.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "salad.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "salad.selector" . }}
app.kubernetes.io/component: server
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "salad.metadata" -}}
name: {{ include "salad.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "salad.labels" . | nindent 2 }}
{{- end }}

{{- define "salad.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "salad.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* "true" if the engine needs a GPU, empty otherwise. */}}
{{- define "salad.usesGpu" -}}
{{- if has .Values.engine (list "webgpu" "gpu") }}true{{ end }}
{{- end }}

{{- define "salad.image" -}}
{{- $variant := include "salad.usesGpu" . | empty | ternary "" "-gpu" }}
{{- $tag := default (printf "%s%s" .Chart.AppVersion $variant) .Values.image.tag }}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end }}
{{- end }}

{{/* Name of the Secret with tls.crt and tls.key; empty in mode plaintext. */}}
{{- define "salad.tlsSecret" -}}
{{- if eq .Values.tls.mode "certManager" }}{{ default (printf "%s-tls" (include "salad.fullname" .)) .Values.tls.secretName }}
{{- else if eq .Values.tls.mode "secret" }}{{ required "tls.secretName: set the Secret that contains tls.crt and tls.key" .Values.tls.secretName }}
{{- end }}
{{- end }}

{{/* Configuration file of the server: the settings that the chart determines, and those of `config`. */}}
{{- define "salad.config" -}}
{{- $engine := get (dict "cpu" "onnx" "openvino" "openvino" "webgpu" "webgpu" "gpu" "tensorflow") .Values.engine }}
{{- $listen := printf "%s:50051" .Values.listenHost }}
{{- $own := dict "listen" $listen "engine" $engine "drainGraceMs" (mul .Values.drain.graceSeconds 1000 | int) }}
{{- $_ := set $own "healthListen" (printf "%s:%d" .Values.listenHost (int .Values.probes.port)) }}
{{- if ne .Values.models.source "image" }}{{ $_ = set $own "models" "/models" }}{{ end }}
{{- if .Values.telemetry.metrics.enabled }}
{{- $_ = set $own "metricsListen" (printf "%s:%d" .Values.listenHost (int .Values.telemetry.metrics.port)) }}
{{- end }}
{{- if eq .Values.tls.mode "plaintext" }}
{{- $_ = set $own "allowPlaintext" true }}
{{- else }}
{{- $_ = set $own "tlsCertFile" "/etc/salad/tls/tls.crt" }}
{{- $_ = set $own "tlsKeyFile" "/etc/salad/tls/tls.key" }}
{{- if .Values.tls.clientCaSecretName }}{{ $_ = set $own "tlsClientCaFile" "/etc/salad/client-ca/ca.crt" }}{{ end }}
{{- end }}
{{- if .Values.auth.apiKeysSecretName }}{{ $_ = set $own "authApiKeysFile" "/etc/salad/api-keys/api-keys.yaml" }}{{ end }}
{{- range $key, $value := merge $own (deepCopy .Values.config) }}
{{ $key }}: {{ if kindIs "float64" $value }}{{ int64 $value }}{{ else }}{{ $value | toJson }}{{ end }}
{{- end }}
{{- end }}

{{- define "salad.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "salad.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Source of the number of engine threads: config, limits.cpu or requests.cpu; empty if none is set. */}}
{{- define "salad.workersFrom" -}}
{{- if int .Values.config.workers }}config
{{- else if (default dict .Values.resources.limits).cpu }}limits.cpu
{{- else if (default dict .Values.resources.requests).cpu }}requests.cpu
{{- end }}
{{- end }}
