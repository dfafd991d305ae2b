{{/* Names, labels and parts that several templates share. */}}

{{/* The name of the application in labels. */}}
{{- define "hotswap.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The prefix of all names. Short enough for "-GROUP-headless" to follow, and for "-GROUP-REVISION", a label
of a StatefulSet's pods, to have 63 characters. */}}
{{- define "hotswap.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 33 | trimSuffix "-" -}}
{{- else if contains (include "hotswap.name" .) .Release.Name -}}
{{- .Release.Name | trunc 33 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "hotswap.name" .) | trunc 33 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "hotswap.engine.fullname" -}}
{{- printf "%s-engine" (include "hotswap.fullname" .) -}}
{{- end -}}

{{/* The name of a group's objects. Context: a group, see "hotswap.groups". */}}
{{- define "hotswap.group.fullname" -}}
{{- printf "%s-%s" (include "hotswap.fullname" .root) .name -}}
{{- end -}}

{{/* By these labels services, policies and budgets find the pods of a component. They never change.
Context: a dict of root and component. */}}
{{- define "hotswap.selectorLabels" -}}
app.kubernetes.io/name: {{ include "hotswap.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The labels of an object. Context: a dict of root and component. */}}
{{- define "hotswap.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "hotswap.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: hotswap
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The labels of a pod: not the chart's version, so that another chart alone restarts nothing.
Context: a dict of root and component. */}}
{{- define "hotswap.podLabels" -}}
{{ include "hotswap.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: hotswap
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The annotations of an object, with those of commonAnnotations, or nothing at all.
Context: a dict of root and annotations. */}}
{{- define "hotswap.annotations" -}}
{{- with merge (deepCopy (default dict .annotations)) .root.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "hotswap.image" -}}
{{- $image := .Values.image -}}
{{- $registry := default $image.registry .Values.global.imageRegistry -}}
{{- $name := $image.repository -}}
{{- if $registry -}}{{- $name = printf "%s/%s" $registry $name -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "hotswap.imagePullSecrets" -}}
{{- $names := concat .Values.global.imagePullSecrets .Values.image.pullSecrets | uniq -}}
{{- with $names -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The name of the secret with the tokens. */}}
{{- define "hotswap.secretName" -}}
{{- default (printf "%s-tokens" (include "hotswap.fullname" .)) .Values.auth.existingSecret -}}
{{- end -}}

{{/* The tokens of the chart's own secret, as YAML: what the values say, else what the cluster holds,
else new ones. Made once in each rendering, so that the secret and its checksum agree. */}}
{{- define "hotswap.tokens" -}}
{{- if not (hasKey .Values.auth "made") -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace (include "hotswap.secretName" .) -}}
{{- $held := dict -}}
{{- if $secret -}}{{- $held = $secret.data -}}{{- end -}}
{{- $made := dict -}}
{{- range $key, $given := dict .Values.auth.apiTokenKey .Values.auth.apiToken .Values.auth.nodeTokenKey .Values.auth.nodeToken -}}
{{- if $given -}}
{{- $_ := set $made $key ($given | b64enc) -}}
{{- else if hasKey $held $key -}}
{{- $_ := set $made $key (index $held $key) -}}
{{- else -}}
{{- $_ := set $made $key (randAlphaNum 43 | b64enc) -}}
{{- end -}}
{{- end -}}
{{- $_ := set .Values.auth "made" $made -}}
{{- end -}}
{{- toYaml .Values.auth.made -}}
{{- end -}}

{{/* The engine's URL in the cluster. */}}
{{- define "hotswap.engine.url" -}}
{{- printf "%s://%s.%s.svc:%d" (ternary "https" "http" (not (empty .Values.tls.engineSecret))) (include "hotswap.engine.fullname" .) .Release.Namespace (int .Values.engine.service.port) -}}
{{- end -}}

{{/* The address that ports listen on, as it stands before a colon. */}}
{{- define "hotswap.listenAddress" -}}
{{- ternary (printf "[%s]" .Values.listenAddress) .Values.listenAddress (contains ":" .Values.listenAddress) -}}
{{- end -}}

{{- define "hotswap.engine.serviceAccountName" -}}
{{- $account := .Values.engine.serviceAccount -}}
{{- default (ternary (include "hotswap.engine.fullname" .) "default" $account.create) $account.name -}}
{{- end -}}

{{- define "hotswap.engine.configMapName" -}}
{{- default (include "hotswap.engine.fullname" .) .Values.engine.existingConfigMap -}}
{{- end -}}

{{- define "hotswap.engine.claimName" -}}
{{- default (include "hotswap.engine.fullname" .) .Values.engine.persistence.existingClaim -}}
{{- end -}}

{{/* The node groups as YAML, by their names: the keys of `node`, and over them those of the group. */}}
{{- define "hotswap.groups" -}}
{{- $groups := dict -}}
{{- range $name, $own := .Values.nodeGroups -}}
{{- $_ := set $groups $name (mergeOverwrite (deepCopy $.Values.node) (default dict (deepCopy $own))) -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}

{{- define "hotswap.group.serviceAccountName" -}}
{{- $account := .values.serviceAccount -}}
{{- default (ternary (include "hotswap.group.fullname" .) "default" $account.create) $account.name -}}
{{- end -}}

{{/* Not empty where engines share a store. */}}
{{- define "hotswap.isShared" -}}
{{- if or .Values.redis.enabled .Values.externalRedis.url -}}true{{- end -}}
{{- end -}}

{{/* How many engines there are without an autoscaler. */}}
{{- define "hotswap.engine.replicas" -}}
{{- if not (kindIs "invalid" .Values.engine.replicaCount) -}}
{{- .Values.engine.replicaCount -}}
{{- else -}}
{{- ternary 3 1 (not (empty (include "hotswap.isShared" .))) -}}
{{- end -}}
{{- end -}}

{{/* How many engines there are at least. */}}
{{- define "hotswap.engine.fewest" -}}
{{- $scaling := .Values.engine.autoscaling -}}
{{- if $scaling.enabled -}}{{- $scaling.minReplicas -}}{{- else -}}{{- include "hotswap.engine.replicas" . -}}{{- end -}}
{{- end -}}

{{/* The budget of the engines as YAML. Where the values do not say whether there is one: where engines share
a store. Where they name no number: two stay of three or more, else one may be gone. */}}
{{- define "hotswap.engine.budget" -}}
{{- $budget := deepCopy .Values.engine.podDisruptionBudget -}}
{{- if kindIs "invalid" $budget.enabled -}}
{{- $_ := set $budget "enabled" (not (empty (include "hotswap.isShared" .))) -}}
{{- end -}}
{{- if and (kindIs "invalid" $budget.minAvailable) (kindIs "invalid" $budget.maxUnavailable) -}}
{{- $several := gt (int (include "hotswap.engine.fewest" .)) 2 -}}
{{- $_ := set $budget (ternary "minAvailable" "maxUnavailable" $several) (ternary 2 1 $several) -}}
{{- end -}}
{{- toYaml $budget -}}
{{- end -}}

{{/* The store's address, the secret with its password, and the key of that: what the subchart makes, or
what is there already. */}}
{{- define "hotswap.store" -}}
{{- $redis := .Values.redis -}}
{{- $external := .Values.externalRedis -}}
{{- $name := printf "%s-redis" (.Release.Name | trunc 40 | trimSuffix "-") -}}
{{- if $redis.enabled -}}
url: {{ printf "redis://%s.%s.svc:6379" $name .Release.Namespace }}
username: ""
secret: {{ default $name $redis.auth.existingSecret }}
key: {{ $redis.auth.passwordKey }}
caSecret: ""
{{- else -}}
url: {{ $external.url | quote }}
username: {{ $external.username | quote }}
secret: {{ $external.existingSecret | quote }}
key: {{ $external.passwordKey | quote }}
caSecret: {{ $external.caSecret | quote }}
{{- end -}}
{{- end -}}

{{/* The list of topologySpreadConstraints, each with a selector. Context: a dict of constraints and scope. */}}
{{- define "hotswap.spread" -}}
{{- $scope := .scope -}}
topologySpreadConstraints:
{{- range .constraints }}
{{- $constraint := deepCopy . }}
{{- if not (hasKey $constraint "labelSelector") }}
{{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "hotswap.selectorLabels" $scope | fromYaml)) }}
{{- end }}
  - {{ toYaml $constraint | nindent 4 | trim }}
{{- end }}
{{- end -}}

{{/* The spec of an HPA. Context: a dict of kind, name and scaling. */}}
{{- define "hotswap.autoscaler" -}}
scaleTargetRef:
  apiVersion: apps/v1
  kind: {{ .kind }}
  name: {{ .name }}
minReplicas: {{ .scaling.minReplicas }}
maxReplicas: {{ .scaling.maxReplicas }}
metrics:
  {{- with .scaling.targetCPUUtilizationPercentage }}
  - type: Resource
    resource:
      name: cpu
      target:
        type: Utilization
        averageUtilization: {{ . }}
  {{- end }}
  {{- with .scaling.targetMemoryUtilizationPercentage }}
  - type: Resource
    resource:
      name: memory
      target:
        type: Utilization
        averageUtilization: {{ . }}
  {{- end }}
  {{- with .scaling.metrics }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .scaling.behavior }}
behavior:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The spec of a persistent volume claim. Context: the values of a persistence. */}}
{{- define "hotswap.claimSpec" -}}
accessModes:
  {{- toYaml .accessModes | nindent 2 }}
{{- if .storageClass }}
storageClassName: {{ ternary "" .storageClass (eq .storageClass "-") | quote }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end -}}

{{/* What a PodDisruptionBudget allows. Context: its values. */}}
{{- define "hotswap.budget" -}}
unhealthyPodEvictionPolicy: {{ .unhealthyPodEvictionPolicy }}
{{- if not (kindIs "invalid" .minAvailable) }}
minAvailable: {{ .minAvailable }}
{{- end }}
{{- if not (kindIs "invalid" .maxUnavailable) }}
maxUnavailable: {{ .maxUnavailable }}
{{- end }}
{{- end -}}

{{/* The volume with the one token that a component needs. Context: a dict of root and key. */}}
{{- define "hotswap.tokenItems" -}}
secretName: {{ include "hotswap.secretName" .root }}
defaultMode: 0440
items:
  {{- range .keys }}
  - key: {{ .key }}
    path: {{ .path }}
  {{- end }}
{{- end -}}

{{/* A probe as the values have it, over HTTPS where the port has a certificate. Context: a dict of probe
and secure. */}}
{{- define "hotswap.probe" -}}
{{- $probe := deepCopy .probe -}}
{{- if and .secure $probe.httpGet (not $probe.httpGet.scheme) -}}
{{- $_ := set $probe.httpGet "scheme" "HTTPS" -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{/* A volume with the authority of a TLS secret alone. Context: a dict of name and secret. */}}
{{- define "hotswap.authorityVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    items:
      - key: ca.crt
        path: ca.crt
{{- end -}}

{{/* Environment variables that name the collector. Pods must have POD_NAME before. Context: a dict of root
and environment, which is that of nodes. */}}
{{- define "hotswap.otlpVariables" -}}
{{- $otlp := .root.Values.otlp -}}
{{- if $otlp.endpoint -}}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ $otlp.endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ $otlp.protocol }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "k8s.namespace.name=%s,k8s.pod.name=$(POD_NAME)" .root.Release.Namespace }}{{ with .environment }},deployment.environment.name={{ . }}{{ end }}
{{- if not $otlp.traces }}
- name: OTEL_TRACES_EXPORTER
  value: none
{{- end }}
{{- if not (kindIs "invalid" $otlp.samplingRatio) }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $otlp.samplingRatio | quote }}
{{- end }}
{{- if not $otlp.metrics }}
- name: OTEL_METRICS_EXPORTER
  value: none
{{- end }}
{{- with $otlp.metricsInterval }}
- name: OTEL_METRIC_EXPORT_INTERVAL
  value: {{ mul . 1000 | quote }}
{{- end }}
{{- with $otlp.headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $otlp.headersKey }}
{{- end }}
{{- if $otlp.caSecret }}
- name: OTEL_EXPORTER_OTLP_CERTIFICATE
  value: /etc/hotswap-otlp-ca/ca.crt
{{- end }}
{{- end -}}
{{- end -}}

{{/* The rule by which pods may reach the collector. */}}
{{- define "hotswap.otlpEgress" -}}
{{- $otlp := .Values.otlp -}}
{{- if $otlp.endpoint -}}
{{- $url := urlParse $otlp.endpoint -}}
{{- $named := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port := default (ternary "443" "80" (eq $url.scheme "https")) $named -}}
- ports:
    {{- range default (list (int $port)) $otlp.ports }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with $otlp.peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}
