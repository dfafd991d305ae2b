{{- define "redis.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "redis.fullname" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "redis.objectLabels" . | nindent 4 }}
  {{- include "redis.annotations" . }}
spec:
  # One pod: the name leads to it.
  clusterIP: None
  selector:
    {{- include "redis.selectorLabels" . | nindent 4 }}
  ports:
    - name: redis
      port: 6379
      targetPort: redis
      protocol: TCP
{{- end -}}
