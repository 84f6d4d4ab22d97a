{{- define "semserve.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "semserve.selector" -}}
app.kubernetes.io/name: semserve
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "semserve.labels" -}}
{{ include "semserve.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "semserve.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "semserve.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}
{{ include "semserve.name" . }}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "semserve.serverName" -}}
{{ .Values.tls.serverName | default (printf "%s.%s.svc" (include "semserve.name" .) .Release.Namespace) }}
{{- end -}}

{{/* Kubernetes's own gRPC probe cannot speak TLS: with TLS, our client asks by the name in the certificate. */}}
{{- define "semserve.probe" -}}
{{- if .Values.tls.secretName -}}
exec:
  command:
    - semserve
    - health
    - --address={{ include "semserve.serverName" . }}:50051
    - --tls-ca=/tls/ca.crt
    {{- if .Values.tls.requireClientCertificate }}
    - --tls-certificate=/tls/tls.crt
    - --tls-key=/tls/tls.key
    {{- end }}
{{- else -}}
grpc: {port: 50051}
{{- end -}}
{{- end -}}

{{/* The flags that the chart passes, with the values that set them: the server takes each flag once. */}}
{{- define "semserve.flags" -}}
--models: models
--address: the chart alone
--device: device
--log-format: the chart alone
--max-connection-age: maxConnectionAge
--drain-delay: drain.delaySeconds
--drain-timeout: drain.timeoutSeconds
--cache-dir: cache
--metrics-address: metrics
--tls-certificate: tls
--tls-key: tls
--tls-client-ca: tls
--api-key-file: keys
{{- end -}}

{{- define "semserve.checkArguments" -}}
{{- $flags := include "semserve.flags" . | fromYaml -}}
{{- range .Values.extraArgs -}}
{{- $flag := index (splitList "=" .) 0 -}}
{{- with get $flags $flag }}{{ fail (printf "extraArgs: %s is set by %s" $flag .) }}{{ end -}}
{{- end -}}
{{- range .Values.env -}}
{{- $name := .name -}}
{{- if hasPrefix "SEMSERVE_" $name -}}
{{- $flag := printf "--%s" (trimPrefix "SEMSERVE_" $name | lower | replace "_" "-") -}}
{{- with get $flags $flag }}{{ fail (printf "env: %s is set by %s" $name .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
