{{- define "redis.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "redis.fullname" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "redis.objectLabels" . | nindent 4 }}
  {{- include "redis.annotations" . }}
data:
  # What the engines need to call the server durable, and refuse it without.
  valkey.conf: |
    {{- include "redis.config" . | nindent 4 }}
{{- end -}}

{{- define "redis.config" -}}
port 6379
dir /data
appendonly yes
appendfsync {{ .Values.appendfsync }}
save ""
maxmemory {{ .Values.maxMemory }}
maxmemory-policy noeviction
tcp-keepalive 60
{{- end -}}
