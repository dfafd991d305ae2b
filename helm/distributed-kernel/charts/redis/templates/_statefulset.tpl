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
      {{- with .imagePullSecrets }}
      {{- . | nindent 6 }}
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
          # The password goes into files in memory, not onto a command line: quoted for the server, and as it is
          # for the probes.
          command:
            - sh
            - -ec
            - |
              umask 077
              password="$(cat /etc/valkey-password/password)"
              printf '%s' "$password" > /run/valkey/password
              quoted="$(printf '%s\n' "$password" | sed 's/[\\"]/\\&/g')"
              { cat /etc/valkey/valkey.conf; printf 'requirepass "%s"\n' "$quoted"; } > /run/valkey/valkey.conf
              exec valkey-server /run/valkey/valkey.conf
          ports:
            - name: redis
              containerPort: 6379
              protocol: TCP
          # While it reads its file it answers with an error, and is not ready. The password is the one that it
          # has started with: until it is restarted with a new one, it serves those who know the old one.
          readinessProbe:
            exec:
              command:
                - sh
                - -ec
                - REDISCLI_AUTH="$(cat /run/valkey/password)" valkey-cli ping | grep -q PONG
            periodSeconds: 5
            timeoutSeconds: 3
          # A server that ends takes its container with it, and one that is slow is not faster after a restart. But
          # it reads the password only when it starts, and engines take a new one within seconds.
          livenessProbe:
            exec:
              command:
                - sh
                - -ec
                - |
                  if [ "$(cat /etc/valkey-password/password)" != "$(cat /run/valkey/password)" ]; then
                    echo "the password has changed, and the server takes it when it starts"
                    exit 1
                  fi
            periodSeconds: 5
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
