{{/* The objects of the server. The chart above makes them: a subchart does not see the labels and annotations
of every object. Context of each: what a template of this chart sees, and commonLabels, commonAnnotations and
imagePullSecrets, a text. */}}

{{- define "redis.fullname" -}}
{{- printf "%s-redis" (.Release.Name | trunc 40 | trimSuffix "-") -}}
{{- end -}}

{{- define "redis.selectorLabels" -}}
app.kubernetes.io/name: redis
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: store
{{- end -}}

{{- define "redis.labels" -}}
{{ include "redis.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: hotswap
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The labels of an object, with those of every object of the chart. */}}
{{- define "redis.objectLabels" -}}
{{ include "redis.labels" . }}
{{- with .commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "redis.annotations" -}}
{{- with .commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "redis.secretName" -}}
{{- default (include "redis.fullname" .) .Values.auth.existingSecret -}}
{{- end -}}

{{- define "redis.image" -}}
{{- $image := .Values.image -}}
{{- $name := printf "%s/%s" (default $image.registry .Values.global.imageRegistry) $image.repository -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}
