{{- define "modality.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
Name of all objects, valid for Services: lower-case letters, digits and hyphens, a letter first, at most 63 characters
with the longest suffix. The name of a release may contain dots and begin with a digit.
*/}}
{{- define "modality.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else }}
{{- $chart := include "modality.name" . }}
{{- $name := contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart) | replace "." "-" }}
{{- $name = regexMatch "^[a-z]" $name | ternary $name (printf "salad-%s" $name) | trunc 51 }}
{{- regexReplaceAll "-+$" $name "" }}
{{- end }}
{{- end }}

{{- define "modality.selector" -}}
app.kubernetes.io/name: {{ include "modality.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "modality.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "modality.selector" . }}
app.kubernetes.io/component: gateway
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "modality.metadata" -}}
name: {{ include "modality.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "modality.labels" . | nindent 2 }}
{{- end }}

{{- define "modality.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "modality.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "modality.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* Name of the Secret with tls.crt and tls.key; empty in mode plaintext. */}}
{{- define "modality.tlsSecret" -}}
{{- if eq .Values.tls.mode "certManager" }}{{ default (printf "%s-tls" (include "modality.fullname" .)) .Values.tls.secretName }}
{{- else if eq .Values.tls.mode "secret" }}{{ required "tls.secretName: set the Secret that contains tls.crt and tls.key" .Values.tls.secretName }}
{{- end }}
{{- end }}

{{/* Settings of the gateway: those of `config`, with the folder, ports and certificates that the chart determines. */}}
{{- define "modality.config" -}}
{{- $tls := dict }}
{{- if eq .Values.tls.mode "plaintext" }}
{{- $_ := set $tls "allowPlaintext" true }}
{{- else }}
{{- $_ := set $tls "tlsCertFile" "/etc/salad-modality/tls/tls.crt" }}
{{- $_ = set $tls "tlsKeyFile" "/etc/salad-modality/tls/tls.key" }}
{{- if .Values.tls.clientCaSecretName }}{{ $_ = set $tls "tlsClientCaFile" "/etc/salad-modality/client-ca/ca.crt" }}{{ end }}
{{- end }}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "inbox" "/var/lib/salad-modality/inbox" }}
{{- range $section, $port := dict "dicom" 11112 "stow" 8080 }}
{{- if hasKey $config $section }}
{{- $own := merge (dict "listen" (printf "%s:%d" $.Values.listenHost $port)) $tls }}
{{- $_ := set $config $section (merge $own (get $config $section)) }}
{{- end }}
{{- end }}
{{- /* Counts only; NetworkPolicy and a service of its own keep it apart. Probes would not check a certificate. */}}
{{- $_ = set $config "operations" (dict "listen" (printf "%s:8081" .Values.listenHost) "allowPlaintext" true) }}
{{- toYaml $config }}
{{- end }}

{{- define "modality.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
# A large inbox must not be walked at every start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "modality.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
