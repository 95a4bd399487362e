{{- define "salad.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "salad.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "salad.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "salad.name" .) | trunc 52 | trimSuffix "-" }}
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

{{- define "salad.image" -}}
{{- $variant := eq .Values.engine "cpu" | ternary "" "-gpu" }}
{{- $tag := default (printf "%s%s" .Chart.AppVersion $variant) .Values.image.tag }}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end }}
{{- end }}

{{/* Name of the secret with tls.crt and tls.key; empty in plaintext. */}}
{{- define "salad.tlsSecret" -}}
{{- if eq .Values.tls.mode "certManager" }}{{ default (printf "%s-tls" (include "salad.fullname" .)) .Values.tls.secretName }}
{{- else if eq .Values.tls.mode "secret" }}{{ required "tls.secretName: which secret holds tls.crt and tls.key?" .Values.tls.secretName }}
{{- end }}
{{- end }}

{{/* The server's configuration file: what the chart decides, over what `config` says. */}}
{{- define "salad.config" -}}
{{- $engine := get (dict "cpu" "onnx" "webgpu" "webgpu" "gpu" "tensorflow") .Values.engine }}
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

{{/* What must hold together, said in words. */}}
{{- define "salad.check" -}}
{{- if not .Values.tls.mode }}
{{- fail "tls.mode: choose certManager, secret, or plaintext (only where a mesh or a gateway encrypts)" }}
{{- end }}
{{- if and .Values.tls.clientCaSecretName (eq .Values.tls.mode "plaintext") }}
{{- fail "tls.clientCaSecretName: client certificates need tls.mode certManager or secret" }}
{{- end }}
{{- if and (eq .Values.tls.mode "certManager") (not .Values.tls.issuerRef.name) }}
{{- fail "tls.issuerRef.name: which issuer signs the certificate?" }}
{{- end }}
{{- if and (eq .Values.models.source "pvc") (not .Values.models.claimName) }}
{{- fail "models.claimName: which claim holds the bundles?" }}
{{- end }}
{{- if and (eq .Values.models.source "oci") (not .Values.models.reference) }}
{{- fail "models.reference: which artifact, with its digest, holds the bundles?" }}
{{- end }}
{{- if and (eq .Values.models.source "download") (not .Values.models.bundles) }}
{{- fail "models.bundles: which bundles are to be downloaded?" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling.minReplicas is larger than autoscaling.maxReplicas" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (not .Values.telemetry.metrics.enabled) }}
{{- fail "autoscaling: scales on the queue's age, which needs telemetry.metrics.enabled" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (eq .Values.autoscaling.kind "keda") (not .Values.autoscaling.keda.serverAddress) }}
{{- fail "autoscaling.keda.serverAddress: where is Prometheus?" }}
{{- end }}
{{- if and .Values.grpcRoute.enabled (not .Values.grpcRoute.parentRefs) }}
{{- fail "grpcRoute.parentRefs: which gateway takes the route?" }}
{{- end }}
{{- end }}
