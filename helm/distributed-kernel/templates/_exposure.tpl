{{/* Services, Ingresses and HTTPRoutes: engine and node groups have the same kinds.
Context of each: a dict of root, component, fullname, values and port, the name of the container's port. */}}

{{- define "hotswap.service" -}}
{{- $service := .values.service -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .fullname }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hotswap.labels" . | nindent 4 }}
  {{- include "hotswap.annotations" (dict "root" .root "annotations" $service.annotations) }}
spec:
  type: {{ $service.type }}
  {{- with $service.loadBalancerSourceRanges }}
  loadBalancerSourceRanges:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  selector:
    {{- include "hotswap.selectorLabels" . | nindent 4 }}
  ports:
    - name: {{ .port }}
      port: {{ $service.port }}
      targetPort: {{ .port }}
      protocol: TCP
      appProtocol: {{ ternary "https" "http" (not (empty (ternary .root.Values.tls.engineSecret .root.Values.tls.nodeSecret (eq .component "engine")))) }}
      {{- if and $service.nodePort (ne $service.type "ClusterIP") }}
      nodePort: {{ $service.nodePort }}
      {{- end }}
{{- end -}}

{{- define "hotswap.ingress" -}}
{{- $ingress := .values.ingress -}}
{{- $issuer := $ingress.tls.certManager -}}
{{- $annotations := deepCopy $ingress.annotations -}}
{{- if and $ingress.tls.enabled $issuer.issuer -}}
{{- $key := ternary "cert-manager.io/cluster-issuer" "cert-manager.io/issuer" (eq $issuer.kind "ClusterIssuer") -}}
{{- $_ := set $annotations $key $issuer.issuer -}}
{{- end -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .fullname }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hotswap.labels" . | nindent 4 }}
  {{- include "hotswap.annotations" (dict "root" .root "annotations" $annotations) }}
spec:
  {{- with $ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- if $ingress.tls.enabled }}
  tls:
    - secretName: {{ default (printf "%s-tls" .fullname) $ingress.tls.secretName }}
      hosts:
        {{- range $ingress.hosts }}
        - {{ . | quote }}
        {{- end }}
  {{- end }}
  rules:
    {{- range $ingress.hosts }}
    - host: {{ . | quote }}
      http:
        paths:
          - path: {{ $ingress.path }}
            pathType: {{ $ingress.pathType }}
            backend:
              service:
                name: {{ $.fullname }}
                port:
                  name: {{ $.port }}
    {{- end }}
{{- end -}}

{{- define "hotswap.httpRoute" -}}
{{- $route := .values.httpRoute -}}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{ .fullname }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hotswap.labels" . | nindent 4 }}
  {{- include "hotswap.annotations" (dict "root" .root "annotations" $route.annotations) }}
spec:
  parentRefs:
    {{- toYaml $route.parentRefs | nindent 4 }}
  {{- with $route.hostnames }}
  hostnames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - matches:
        - path:
            type: PathPrefix
            value: {{ $route.path }}
      {{- if and (eq .component "engine") (ne $route.path "/") }}
      # The engine knows its paths from `/` only.
      filters:
        - type: URLRewrite
          urlRewrite:
            path: {type: ReplacePrefixMatch, replacePrefixMatch: /}
      {{- end }}
      backendRefs:
        - name: {{ .fullname }}
          port: {{ .values.service.port }}
{{- end -}}

{{- define "hotswap.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .account }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hotswap.labels" . | nindent 4 }}
  {{- include "hotswap.annotations" (dict "root" .root "annotations" .values.serviceAccount.annotations) }}
automountServiceAccountToken: false
{{- end -}}

{{- define "hotswap.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .fullname }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hotswap.labels" . | nindent 4 }}
  {{- include "hotswap.annotations" (dict "root" .root) }}
spec:
  {{- include "hotswap.budget" .values.podDisruptionBudget | nindent 2 }}
  selector:
    matchLabels:
      {{- include "hotswap.selectorLabels" . | nindent 6 }}
{{- end -}}
