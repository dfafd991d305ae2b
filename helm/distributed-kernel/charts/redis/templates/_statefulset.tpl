{{- define "redis.statefulset" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "redis.fullname" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "redis.objectLabels" . | nindent 4 }}
  {{- include "redis.annotations" . }}
spec:
  replicas: 1
  serviceName: {{ include "redis.fullname" . }}
  revisionHistoryLimit: 3
  selector:
    matchLabels:
      {{- include "redis.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "redis.labels" . | nindent 8 }}
      annotations:
        checksum/config: {{ include "redis.config" . | sha256sum }}
    spec:
      {{- with .Values.global.imagePullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      securityContext:
        {{- toYaml .Values.podSecurityContext | nindent 8 }}
      containers:
        - name: valkey
          image: {{ include "redis.image" . }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          # The password goes into a file in memory, not onto a command line.
          command:
            - sh
            - -ec
            - |
              umask 077
              { cat /etc/valkey/valkey.conf; printf 'requirepass "%s"\n' "$(cat /etc/valkey-password/password)"; } > /run/valkey/valkey.conf
              exec valkey-server /run/valkey/valkey.conf
          ports:
            - name: redis
              containerPort: 6379
              protocol: TCP
          # While it reads its file it answers with an error, and is not ready.
          readinessProbe:
            exec:
              command:
                - sh
                - -ec
                - REDISCLI_AUTH="$(cat /etc/valkey-password/password)" valkey-cli ping | grep -q PONG
            periodSeconds: 5
            timeoutSeconds: 3
          livenessProbe:
            tcpSocket: {port: redis}
            initialDelaySeconds: 10
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          {{- with .Values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          securityContext:
            {{- toYaml .Values.securityContext | nindent 12 }}
          volumeMounts:
            - name: data
              mountPath: /data
            - name: config
              mountPath: /etc/valkey
              readOnly: true
            - name: password
              mountPath: /etc/valkey-password
              readOnly: true
            - name: run
              mountPath: /run/valkey
      volumes:
        - name: config
          configMap:
            name: {{ include "redis.fullname" . }}
        - name: password
          secret:
            secretName: {{ include "redis.secretName" . }}
            defaultMode: 0440
            items:
              - key: {{ .Values.auth.passwordKey }}
                path: password
        - name: run
          emptyDir:
            medium: Memory
        {{- with .Values.persistence.existingClaim }}
        - name: data
          persistentVolumeClaim:
            claimName: {{ . }}
        {{- end }}
      {{- with .Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
  {{- if not .Values.persistence.existingClaim }}
  volumeClaimTemplates:
    - metadata:
        name: data
        labels:
          {{- include "redis.selectorLabels" . | nindent 10 }}
      spec:
        accessModes: [ReadWriteOnce]
        {{- if .Values.persistence.storageClass }}
        storageClassName: {{ ternary "" .Values.persistence.storageClass (eq .Values.persistence.storageClass "-") | quote }}
        {{- end }}
        resources:
          requests:
            storage: {{ .Values.persistence.size }}
  {{- end }}
{{- end -}}
