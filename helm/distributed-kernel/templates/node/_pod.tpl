{{/* The pods of a group: the same for each kind of workload.
Context: a dict of root, name, component, fullname and values, see "hotswap.eachGroup". */}}
{{- define "hotswap.node.template" -}}
{{- $root := .root -}}
{{- $node := .values -}}
{{- $tls := $root.Values.tls -}}
{{- $scope := . -}}
metadata:
  labels:
    {{- include "hotswap.podLabels" $scope | nindent 4 }}
    {{- with $node.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- if not $root.Values.auth.existingSecret }}
    # The one that nodes have: another API token restarts none of them.
    checksum/tokens: {{ get (include "hotswap.tokens" $root | fromYaml) $root.Values.auth.nodeTokenKey | sha256sum }}
    {{- end }}
    {{- with $node.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- with include "hotswap.imagePullSecrets" $root }}
  {{- . | nindent 2 }}
  {{- end }}
  serviceAccountName: {{ include "hotswap.group.serviceAccountName" $scope }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $node.terminationGracePeriodSeconds }}
  {{- with $node.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml $node.podSecurityContext | nindent 4 }}
  {{- with $node.initContainers }}
  initContainers:
    {{- tpl (toYaml .) $root | nindent 4 }}
  {{- end }}
  containers:
    - name: node
      image: {{ include "hotswap.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - node
        - run
        - --id=$(POD_NAME)
        - --advertise=$(POD_IP)
        - --data={{ include "hotswap.listenAddress" $root }}:8080
        - --control={{ include "hotswap.listenAddress" $root }}:8081
        - --data-dir=/var/lib/hotswap
        {{- if eq $root.Values.discovery.mode "kubernetes" }}
        - --discovered
        {{- else }}
        - --engine={{ include "hotswap.engine.url" $root }}
        {{- end }}
        - --token-file=/etc/hotswap-tokens/node-token
        {{- with $node.environment }}
        - --environment={{ . }}
        {{- end }}
        {{- with $node.zone }}
        - --zone={{ . }}
        {{- end }}
        {{- range $key, $value := $node.labels }}
        - {{ printf "--label=%s=%s" $key (toString $value) | quote }}
        {{- end }}
        - --lame-duck={{ $node.lameDuckSeconds }}s
        - --drain={{ $node.drainSeconds }}s
        {{- if $tls.engineSecret }}
        - --ca=/etc/hotswap-engine-ca/ca.crt
        {{- end }}
        {{- if $tls.nodeSecret }}
        - --tls-cert=/etc/hotswap-tls/tls.crt
        - --tls-key=/etc/hotswap-tls/tls.key
        {{- end }}
        {{- if $tls.mutual }}
        - --tls-client-ca=/etc/hotswap-engine-ca/ca.crt
        - --client-cert=/etc/hotswap-tls/tls.crt
        - --client-key=/etc/hotswap-tls/tls.key
        {{- end }}
        - --log-format={{ $node.logFormat }}
        {{- with $node.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        - name: RUST_LOG
          value: {{ $node.logLevel | quote }}
        {{- with include "hotswap.otlpVariables" (dict "root" $root "environment" $node.environment) }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $node.extraEnv }}
        {{- tpl (toYaml .) $root | nindent 8 }}
        {{- end }}
      {{- with $node.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: data
          containerPort: 8080
          protocol: TCP
        - name: control
          containerPort: 8081
          protocol: TCP
      startupProbe:
        {{- include "hotswap.probe" (dict "probe" $node.startupProbe "secure" $tls.nodeSecret) | nindent 8 }}
      livenessProbe:
        {{- include "hotswap.probe" (dict "probe" $node.livenessProbe "secure" $tls.nodeSecret) | nindent 8 }}
      readinessProbe:
        {{- include "hotswap.probe" (dict "probe" $node.readinessProbe "secure" $tls.nodeSecret) | nindent 8 }}
      {{- with $node.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml $node.securityContext | nindent 8 }}
      volumeMounts:
        - name: data
          mountPath: /var/lib/hotswap
        - name: tokens
          mountPath: /etc/hotswap-tokens
          readOnly: true
        {{- if $tls.engineSecret }}
        - name: engine-ca
          mountPath: /etc/hotswap-engine-ca
          readOnly: true
        {{- end }}
        {{- if $tls.nodeSecret }}
        - name: tls
          mountPath: /etc/hotswap-tls
          readOnly: true
        {{- end }}
        {{- if $root.Values.otlp.caSecret }}
        - name: otlp-ca
          mountPath: /etc/hotswap-otlp-ca
          readOnly: true
        {{- end }}
        - name: tmp
          mountPath: /tmp
        {{- with $node.extraVolumeMounts }}
        {{- tpl (toYaml .) $root | nindent 8 }}
        {{- end }}
    {{- with $node.sidecars }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
  volumes:
    {{- if not $node.persistence.enabled }}
    - name: data
      emptyDir:
        {{- toYaml $node.emptyDir | nindent 8 }}
    {{- end }}
    - name: tokens
      secret:
        {{- include "hotswap.tokenItems" (dict "root" $root "keys" (list
              (dict "key" $root.Values.auth.nodeTokenKey "path" "node-token"))) | nindent 8 }}
    {{- with $tls.engineSecret }}
    {{- include "hotswap.authorityVolume" (dict "name" "engine-ca" "secret" .) | nindent 4 }}
    {{- end }}
    {{- with $tls.nodeSecret }}
    - name: tls
      secret:
        secretName: {{ . }}
    {{- end }}
    {{- with $root.Values.otlp.caSecret }}
    {{- include "hotswap.authorityVolume" (dict "name" "otlp-ca" "secret" .) | nindent 4 }}
    {{- end }}
    - name: tmp
      emptyDir: {}
    {{- with $node.extraVolumes }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
  {{- with $node.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $node.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $node.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $node.topologySpreadConstraints }}
  {{- include "hotswap.spread" (dict "constraints" . "scope" $scope) | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The metadata of a group's workload. */}}
{{- define "hotswap.node.metadata" }}
  name: {{ .fullname }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hotswap.labels" . | nindent 4 }}
  {{- include "hotswap.annotations" . }}
{{- end -}}

{{/* What a group is, for the templates that make one object of each. Context: a dict of root, name and values. */}}
{{- define "hotswap.node.scope" -}}
{{- $_ := set . "component" (printf "node-%s" .name) -}}
{{- $_ := set . "fullname" (include "hotswap.group.fullname" .) -}}
{{- $_ := set . "port" "data" -}}
{{- end -}}
