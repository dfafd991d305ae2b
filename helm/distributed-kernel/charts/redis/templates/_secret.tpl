{{- define "redis.secret" -}}
{{- if not .Values.auth.existingSecret -}}
{{- $held := dict -}}
{{- with lookup "v1" "Secret" .Release.Namespace (include "redis.secretName" .) -}}
{{- $held = .data -}}
{{- end -}}
{{- $key := .Values.auth.passwordKey -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ include "redis.secretName" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "redis.objectLabels" . | nindent 4 }}
  {{- include "redis.annotations" . }}
type: Opaque
data:
  # Made once: an upgrade keeps what the cluster holds.
  {{ $key }}: {{ default (randAlphaNum 43 | b64enc) (get $held $key) }}
{{- end }}
{{- end -}}
