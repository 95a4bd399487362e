{{/*
Refuses invalid combinations of values with a message that names the value to change. values.schema.json checks each
value alone, and the gateway itself refuses settings that contradict each other.
*/}}
{{- define "modality.check" -}}
{{- include "modality.check.inputs" . }}
{{- include "modality.check.security" . }}
{{- include "modality.check.disk" . }}
{{- include "modality.check.volumes" . }}
{{- include "modality.check.files" . }}
{{- include "modality.check.network" . }}
{{- include "modality.check.names" . }}
{{- end }}

{{- define "modality.check.inputs" -}}
{{- $config := .Values.config }}
{{- if not (or (hasKey $config "dicom") (hasKey $config "stow") $config.watch) }}
{{- fail "config: nothing to receive from: give config.dicom, config.stow or config.watch" }}
{{- end }}
{{- range (default dict $config.server).targets }}
{{- if regexMatch "^(localhost|127\\.|\\[::1\\])" . }}
{{- fail (printf "config.server.targets: %s is the pod itself: give the address of the Service of salad-serve" .) }}
{{- end }}
{{- end }}
{{- if and $config.destinations (not $config.server) }}
{{- fail "config.destinations: results need config.server" }}
{{- end }}
{{- end }}

{{- define "modality.check.security" -}}
{{- $hasPort := or (hasKey .Values.config "dicom") (hasKey .Values.config "stow") }}
{{- if and $hasPort (not .Values.tls.mode) }}
{{- fail "tls.mode: choose certManager, secret, or plaintext (only on a network that is protected otherwise)" }}
{{- end }}
{{- if and .Values.tls.mode (not $hasPort) }}
{{- fail "tls.mode: is used by config.dicom and config.stow only" }}
{{- end }}
{{- if not (has .Values.tls.mode (list "certManager" "secret")) }}
{{- range $key, $value := dict "secretName" .Values.tls.secretName "clientCaSecretName" .Values.tls.clientCaSecretName "issuerRef.name" .Values.tls.issuerRef.name }}
{{- if $value }}{{ fail (printf "tls.%s: needs tls.mode certManager or secret" $key) }}{{ end }}
{{- end }}
{{- end }}
{{- if and (eq .Values.tls.mode "certManager") (not .Values.tls.issuerRef.name) }}
{{- fail "tls.issuerRef.name: set the name of the issuer that signs the certificate" }}
{{- end }}
{{- $stow := .Values.config.stow }}
{{- if and (hasKey .Values.config "stow") (not (default dict $stow).tokenFile) (not .Values.tls.clientCaSecretName) }}
{{- fail "config.stow.tokenFile: STOW-RS needs a token (filesSecretName) or client certificates (tls.clientCaSecretName)" }}
{{- end }}
{{- end }}

{{/* The inbox would refuse every instance if as much must stay free as the volume has. */}}
{{- define "modality.check.disk" -}}
{{- if not .Values.persistence.existingClaim }}
{{- $size := toString .Values.persistence.size }}
{{- $units := dict "Mi" 1 "Gi" 1024 "Ti" 1048576 }}
{{- $unit := regexFind "[MGT]i$" $size }}
{{- if and $unit (regexMatch "^[0-9]+[MGT]i$" $size) }}
{{- $mebibytes := mul (int64 (trimSuffix $unit $size)) (get $units $unit) }}
{{- if le $mebibytes (int64 (default 1024 .Values.config.keepFreeMib)) }}
{{- fail (printf "persistence.size: %s is not more than config.keepFreeMib, so that every instance would be refused" $size) }}
{{- end }}
{{- end }}
{{- else }}
{{- range $key, $value := dict "storageClassName" .Values.persistence.storageClassName "annotations" .Values.persistence.annotations }}
{{- if $value }}{{ fail (printf "persistence.%s: is not used with persistence.existingClaim" $key) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "modality.check.volumes" -}}
{{- $volumes := dict }}
{{- range list "config" "inbox" "tmp" "tls" "client-ca" "files" }}{{ $_ := set $volumes . "chart" }}{{ end }}
{{- range .Values.extraVolumes }}
{{- if hasKey $volumes .name }}{{ fail (printf "extraVolumes: the name %s is already used; choose another name" .name) }}{{ end }}
{{- if ne (len (keys .)) 2 }}{{ fail (printf "extraVolumes: %s: give exactly one kind of volume" .name) }}{{ end }}
{{- $_ := set $volumes .name "extra" }}
{{- end }}
{{- $used := list }}
{{- range .Values.extraVolumeMounts }}
{{- if ne (get $volumes .name) "extra" }}{{ fail (printf "extraVolumeMounts: %s is not in extraVolumes; add the volume there" .name) }}{{ end }}
{{- $path := trimSuffix "/" .mountPath }}
{{- if or (has $path $used) (has $path (list "" "/etc" "/var" "/var/lib" "/tmp")) (regexMatch "^(/app|/etc/salad-modality|/var/lib/salad-modality)(/(config|tls|client-ca|files|inbox)(/.*)?)?$" $path) }}
{{- fail (printf "extraVolumeMounts: %s: the folder is used by another volume or by the program; choose another folder, such as /mnt/exports" .mountPath) }}
{{- end }}
{{- $used = append $used $path }}
{{- end }}
{{- end }}

{{/* Every file and folder that the settings name must be in a volume. */}}
{{- define "modality.check.files" -}}
{{- $config := .Values.config }}
{{- $named := list }}
{{- range $section := list "server" "stow" }}
{{- range $key, $value := default dict (get $config $section) }}
{{- if hasSuffix "File" $key }}{{ $named = append $named (list (printf "config.%s.%s" $section $key) $value) }}{{ end }}
{{- end }}
{{- end }}
{{- range $index, $destination := $config.destinations }}
{{- range $key, $value := $destination }}
{{- if hasSuffix "File" $key }}{{ $named = append $named (list (printf "config.destinations[%d].%s" $index $key) $value) }}{{ end }}
{{- end }}
{{- end }}
{{- range $named }}
{{- $key := first . }}{{ $path := last . }}
{{- if hasPrefix "/etc/salad-modality/files/" $path }}
{{- if not $.Values.filesSecretName }}
{{- fail (printf "filesSecretName: set the Secret that contains %s (%s)" (base $path) $key) }}
{{- end }}
{{- else if not (include "modality.mountOf" (dict "path" $path "mounts" $.Values.extraVolumeMounts)) }}
{{- fail (printf "%s: %s is in no volume: use /etc/salad-modality/files/NAME with filesSecretName, or add extraVolumeMounts" $key $path) }}
{{- end }}
{{- end }}
{{- range $index, $watch := $config.watch }}
{{- $mount := include "modality.mountOf" (dict "path" $watch.path "mounts" $.Values.extraVolumeMounts) }}
{{- if not $mount }}
{{- fail (printf "config.watch[%d].path: %s is in no volume: add it to extraVolumes and extraVolumeMounts" $index $watch.path) }}
{{- end }}
{{- if eq $mount "read-only" }}
{{- fail (printf "config.watch[%d].path: %s is mounted read-only, but files that were taken are removed: remove readOnly in extraVolumeMounts" $index $watch.path) }}
{{- end }}
{{- end }}
{{- end }}

{{/* "read-only" or "read-write" if .path is in one of .mounts, else empty. */}}
{{- define "modality.mountOf" -}}
{{- $path := printf "%s/" (trimSuffix "/" .path) }}
{{- $found := "" }}
{{- range .mounts }}
{{- if hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) $path }}{{ $found = default false .readOnly | ternary "read-only" "read-write" }}{{ end }}
{{- end }}
{{- $found }}
{{- end }}

{{- define "modality.check.network" -}}
{{- $config := .Values.config }}
{{- $isOutside := ne .Values.service.type "ClusterIP" }}
{{- if and $isOutside (ne .Values.service.externalTrafficPolicy "Local") }}
{{- range (default dict $config.dicom).callers }}
{{- if .address }}
{{- fail (printf "service.externalTrafficPolicy: must be Local, because config.dicom.callers allows %s only from its own address" .aeTitle) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $isOutside .Values.networkPolicy.enabled (not .Values.networkPolicy.clients) }}
{{- fail (printf "networkPolicy.clients: with service.type %s, name the networks of the modalities (ipBlock), which could not connect otherwise" .Values.service.type) }}
{{- end }}
{{- if and .Values.service.loadBalancerSourceRanges (ne .Values.service.type "LoadBalancer") }}
{{- fail "service.loadBalancerSourceRanges: needs service.type LoadBalancer" }}
{{- end }}
{{- if and .Values.service.dicomNodePort (not $isOutside) }}
{{- fail "service.dicomNodePort: needs service.type NodePort or LoadBalancer" }}
{{- end }}
{{- if eq (int .Values.service.dicomPort) (int .Values.service.stowPort) }}
{{- fail "service.stowPort: must differ from service.dicomPort" }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) }}
{{- range $key := list "server" "destinations" }}
{{- if get $config $key }}
{{- fail (printf "networkPolicy.egress: add the destination of config.%s, which the pod could not reach otherwise" $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Refuses keys that the chart sets itself: they would be duplicates, or would replace the value of the chart. */}}
{{- define "modality.check.names" -}}
{{- $own := include "modality.labels" . | fromYaml }}
{{- $telemetry := .Values.telemetry }}
{{- range $where, $labels := dict "podLabels" .Values.podLabels "telemetry.serviceMonitor.labels" $telemetry.serviceMonitor.labels "telemetry.podMonitor.labels" $telemetry.podMonitor.labels "telemetry.prometheusRule.labels" $telemetry.prometheusRule.labels "telemetry.dashboard.labels" $telemetry.dashboard.labels }}
{{- range $key, $_ := $labels }}
{{- if hasKey $own $key }}{{ fail (printf "%s: the chart sets the label %s itself" $where $key) }}{{ end }}
{{- end }}
{{- end }}
{{- if hasKey .Values.podAnnotations "checksum/config" }}
{{- fail "podAnnotations: the chart sets checksum/config itself" }}
{{- end }}
{{- $seen := dict }}
{{- range .Values.extraEnv }}
{{- if hasKey $seen .name }}{{ fail (printf "extraEnv: %s is set twice" .name) }}{{ end }}
{{- $_ := set $seen .name true }}
{{- end }}
{{- if and $telemetry.serviceMonitor.enabled $telemetry.podMonitor.enabled }}
{{- fail "telemetry: serviceMonitor and podMonitor together would scrape every pod twice; enable one" }}
{{- end }}
{{- end }}
