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
